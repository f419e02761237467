-- Set fields of a live task's metadata, never creating a hash without a TTL.
-- KEYS: meta. ARGV: field, value, ... Answers 1 when it was there and live.
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'completed' or status == 'failed' or status == 'cancelled' then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
