"""The sections of a matrix's page, one a file, each beside its template."""
