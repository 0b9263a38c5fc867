"""The networks in plain PyTorch, written from the papers: the oracle of parity checks and the eager baseline."""
