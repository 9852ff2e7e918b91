"""PodDisruptionBudgets: how many Pods may go. With the embedded API only."""
