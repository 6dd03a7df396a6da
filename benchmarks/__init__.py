"""Problems, peers and runners; figures go to results/ and into the docs."""
