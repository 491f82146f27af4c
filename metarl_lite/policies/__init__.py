"""Networks as functions of a dict of parameters: an MLP that gradient steps adapt, a GRU with a memory."""
