"""The networks in plain PyTorch, written from the papers: the parity oracle and the eager baseline."""
