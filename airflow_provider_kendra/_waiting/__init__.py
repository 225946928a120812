"""How waits and watchers wait: conditions over histories, and polls that they share."""
