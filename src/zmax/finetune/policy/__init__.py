"""Policy gradients: tuners that weigh the log-probabilities of the steps of a stochastic path."""
