"""The commands of the command line, one module for each group; ``reflosses.__main__`` puts them together."""
