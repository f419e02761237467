-- Offer a runner's tools for a while, and forget runners whose while is over.
-- KEYS: catalogue. ARGV: runner, json, valid_ms. A field's value is the expiry, a space, and the json.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
    local expiry = string.match(known[i + 1], '^%d+')
    if not expiry or tonumber(expiry) < now then
        redis.call('HDEL', KEYS[1], known[i])
    end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', now + ARGV[3], ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
