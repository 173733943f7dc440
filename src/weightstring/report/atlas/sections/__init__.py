"""The sections of an atlas's page, one a file, each beside its template."""
