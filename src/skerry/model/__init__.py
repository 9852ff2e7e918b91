"""The vocabulary of the house: objects, errors, quantities, selectors and times, all pure values.

Import from the submodules: `model.objects`, `model.errors`, `model.resources`, `model.selectors`, `model.times`,
`model.names`, `model.conditions`, `model.quantity`, `model.kinds`.
"""
