-- Note that an agent stream is open, and forget those of which nothing was heard for longer than Redis keeps them.
-- KEYS: registry. ARGV: task id, its moment in ms, live_ttl_ms.
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2] - 2 * ARGV[3])
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[3])
return 1
