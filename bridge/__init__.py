"""Grid side: workers that own sessions, feed a grid through a connector and push outputs back."""
