"""What the answers mean: codes and outputs to numbers. Solvers never call the model and never draw random numbers."""
