-- Give a task an owner, live or ended, never creating a hash without a TTL.
-- KEYS: meta. ARGV: user_id. Answers 1 when it was there.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], 'user_id', ARGV[1])
return 1
