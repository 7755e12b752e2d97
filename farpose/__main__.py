"""`python -m farpose`: the command line."""

from farpose.cli import main

main()
