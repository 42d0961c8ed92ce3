"""WebSocket (RFC 6455): what follows an HTTP request that was let through and answered with 101.

Both ends of a socket end here. A message is read whole, judged or masked, and written anew in one frame.
"""
