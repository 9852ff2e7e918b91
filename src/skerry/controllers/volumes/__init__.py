"""PersistentVolumes made by hand: bound to claims, given back, not removed while they are used. With the embedded API only."""
