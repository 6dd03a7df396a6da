"""Search by populations whose law moves towards what scores well."""
