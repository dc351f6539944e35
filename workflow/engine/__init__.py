"""How the items of a batch are worked through, whatever happens."""
