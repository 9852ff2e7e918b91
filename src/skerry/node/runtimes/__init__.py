"""Ways to run a Pod's containers. `contract` is what each offers; `process` needs no container engine."""
