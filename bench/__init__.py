"""How fast Penstock is, beside what a user would write by hand."""
