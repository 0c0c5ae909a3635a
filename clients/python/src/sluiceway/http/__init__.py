"""One logical call over several gateways: addresses, credentials, TLS, retries."""
