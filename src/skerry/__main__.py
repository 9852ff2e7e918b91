"""`python -m skerry` is the command line."""

from skerry.cli import main

main(prog_name="skerry")
