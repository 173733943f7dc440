"""The sections of that page, one a file, each beside its template."""
