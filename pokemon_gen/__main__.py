"""`python -m pokemon_gen` is `pokemon-gen`."""

from pokemon_gen.cli import main

main()
