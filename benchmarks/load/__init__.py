"""Programs that put load on a gateway over HTTPS: plain aiohttp and MessagePack, no retries and no conveniences."""
