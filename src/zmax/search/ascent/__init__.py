"""Search that climbs: along gradients, or along estimates of them from differences of scores."""
