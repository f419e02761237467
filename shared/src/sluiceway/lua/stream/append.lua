-- Append one batch of a writer, once, however often it is sent.
-- KEYS: meta, events. ARGV: attempt, batch, ttl_ms, then type, json, protocol ('' for any) for each entry. What has no
-- type is no entry: it says how far the model's answer is shown with this batch, and is kept in the metadata.
-- Answers 'ok', 'cancelled' (appended all the same), 'fenced' (another attempt writes, or the task has ended) or 'lost'
-- (Redis forgot the task, this attempt, or a batch before this one: a server that took over may lack the last writes).
-- Nothing was appended then: what follows a gap must not look as if it followed what is there.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status', 'batch', 'cancel')
if not known[1] then
    return 'lost'
end
if known[1] ~= ARGV[1] or known[2] ~= 'running' then
    return tonumber(known[1]) < tonumber(ARGV[1]) and 'lost' or 'fenced'
end
local ahead = tonumber(ARGV[2]) - tonumber(known[3] or 0)
if ahead > 1 then
    return 'lost'
end
if ahead == 1 then
    local left = redis.call('PTTL', KEYS[2])
    if left == -2 and known[3] then
        return 'lost'
    end
    local id = ARGV[1] .. '-*'
    for i = 4, #ARGV, 3 do
        if ARGV[i] == '' then
            redis.call('HSET', KEYS[1], 'reached', ARGV[i + 1])
        elseif ARGV[i + 2] == '' then
            redis.call('XADD', KEYS[2], id, 't', ARGV[i], 'd', ARGV[i + 1])
        else
            redis.call('XADD', KEYS[2], id, 't', ARGV[i], 'd', ARGV[i + 1], 'v', ARGV[i + 2])
        end
    end
    redis.call('HSET', KEYS[1], 'batch', ARGV[2])
    if left < 0 then
        redis.call('PEXPIRE', KEYS[2], ARGV[3])
    end
end
if known[4] then
    return 'cancelled'
end
return 'ok'
