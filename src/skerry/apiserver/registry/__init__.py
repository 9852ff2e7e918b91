"""One verb a module over every kind, built-in or custom: decode, default, validate, admit, store; and what single kinds add."""
