-- Take the words of a deleted task out. What is left fences whoever comes late, and names nobody; of a live stream it also
-- ends, for a moment, what is followed just now.
-- KEYS: meta, events. ARGV: kept_ms, shown_ms, then type, json for each entry of a stream that was live.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status')
local status = known[2]
local attempt = string.format('%d', tonumber(known[1] or 0) + 1)
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'status', 'cancelled', 'attempt', attempt)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if not status or status == 'completed' or status == 'failed' or status == 'cancelled' then
    return 0
end
for i = 3, #ARGV, 2 do
    redis.call('XADD', KEYS[2], attempt .. '-*', 't', ARGV[i], 'd', ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
