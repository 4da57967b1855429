"""What end-to-end tests are made of: real programs, origins, visitors, and ways to wait for events."""
