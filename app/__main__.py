"""`python -m app` is the command `secondlook`."""

from app.cli.cli import main

main()
