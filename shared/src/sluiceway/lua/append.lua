-- Append one batch of a writer, once, however often it is sent.
-- KEYS: meta, events. ARGV: attempt, batch, ttl_ms, then type, json, protocol ('' for any) for each entry.
-- Answers 'ok', 'cancelled' (appended all the same), 'fenced' (nothing was appended) or 'lost' (Redis forgot the task).
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status', 'batch', 'cancel')
if not known[1] then
    return 'lost'
end
if known[1] ~= ARGV[1] or known[2] ~= 'running' then
    return 'fenced'
end
if not known[3] or tonumber(known[3]) < tonumber(ARGV[2]) then
    local id = ARGV[1] .. '-*'
    for i = 4, #ARGV, 3 do
        if ARGV[i + 2] == '' then
            redis.call('XADD', KEYS[2], id, 't', ARGV[i], 'd', ARGV[i + 1])
        else
            redis.call('XADD', KEYS[2], id, 't', ARGV[i], 'd', ARGV[i + 1], 'v', ARGV[i + 2])
        end
    end
    redis.call('HSET', KEYS[1], 'batch', ARGV[2])
    if redis.call('PTTL', KEYS[2]) < 0 then
        redis.call('PEXPIRE', KEYS[2], ARGV[3])
    end
end
if known[4] then
    return 'cancelled'
end
return 'ok'
