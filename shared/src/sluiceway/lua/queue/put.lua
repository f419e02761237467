-- Queue an entry; its id says in which partition.
-- KEYS: queue. ARGV: what its id ends with, body. Answers the entry's id.
return redis.call('XADD', KEYS[1], '*', 'd', ARGV[2]) .. ARGV[1]
