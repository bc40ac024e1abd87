"""`python -m app` is the command `secondlook`."""

from app.cli.main import main

main()
