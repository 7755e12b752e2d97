"""Where records go: files, an MQTT broker, a webhook.

Each output has a queue with a bound and a thread of its own, so that one that is slow or dead holds
up neither cameras nor other outputs.
"""
