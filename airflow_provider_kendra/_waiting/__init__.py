"""How waits and watchers work: conditions on sync job histories, and shared polls."""
