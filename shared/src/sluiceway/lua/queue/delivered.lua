-- Included by others.

-- An entry's id as a number, to be compared and to be a score: the milliseconds, and behind the point which one of them.
local function position(id)
    local ms, number = string.match(id, '^(%d+)-(%d+)')
    return tonumber(ms) + math.min(tonumber(number), 999) / 1000
end

local function score(id)
    local ms, number = string.match(id, '^(%d+)-(%d+)')
    return number == '0' and ms or string.format('%.3f', position(id))
end

-- The position up to which a queue's entries were delivered. Where none waits in the queue all were, whatever the group
-- says: it may have been made again.
local function delivered(queue, group)
    local groups = redis.pcall('XINFO', 'GROUPS', queue)
    if groups.err then
        return math.huge
    end
    for _, told in ipairs(groups) do
        local fact = {}
        for f = 1, #told, 2 do
            fact[told[f]] = told[f + 1]
        end
        if fact['name'] == group then
            local last = fact['last-delivered-id']
            -- Redis may have lost count of how many wait; that none does is the common case, and costs no look.
            local waits = fact['lag'] ~= 0 and redis.call('XRANGE', queue, '(' .. last, '+', 'COUNT', 1)[1]
            return waits and position(last) or math.huge
        end
    end
    return 0
end
