"""The core and its asyncio face."""
