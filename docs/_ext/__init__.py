"""What the site needs beyond Sphinx: small extensions, and what the code says by itself."""
