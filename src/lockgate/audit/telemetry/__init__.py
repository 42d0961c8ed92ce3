"""OpenTelemetry: what the gateway sends to a collector. Imported only where one is configured.

The SDK's value types and encoders, and nothing else of it: no provider is installed, no thread started, no
environment variable read. Batches go out by the exporters' own way, which keeps secrets and retries in one place.
"""
