"""The sections of a string's page that a run's has not, one a file, each beside its template."""
