"""AlphaFold 3's network as pure functions of parameters and a batch."""
