-- Answers:  nothing. Holds the number 0005 until the migration that has it is merged; delete this file then.
-- Grain:    none.
-- Written:  never.
-- Key:      none.
CREATE DATABASE IF NOT EXISTS usage;
