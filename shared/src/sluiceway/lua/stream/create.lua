-- Write a task's metadata with its TTL, unless it exists: a running task is never overwritten.
-- KEYS: meta. ARGV: ttl_ms, field, value, ... Answers 1 when it was created, else 0.
if redis.call('EXISTS', KEYS[1]) == 1 then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
