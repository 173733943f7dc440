"""The sections of a sweep's page, one a file, each beside its template."""
