"""L1: the contracts, their deployment, and the drivers that post, claim, read and withdraw."""
