"""What the node shows of the state: instruments by name, books, accounts, in exact decimals."""
