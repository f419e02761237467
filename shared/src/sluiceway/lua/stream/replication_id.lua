-- Which life of the data set this is: see begin.lua. No keys, no arguments.
return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
