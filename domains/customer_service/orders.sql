-- Fictional orders. The postcode is stored as a real shop would store it; hooks.py never reads it.
CREATE TABLE orders (
    number TEXT PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('processing', 'packed', 'shipped', 'out for delivery', 'delivered',
                                           'delayed', 'cancelled', 'returned', 'refunded')),
    placed TEXT NOT NULL,    -- ISO 8601 date
    shipped TEXT,            -- ISO 8601 date, NULL before dispatch
    expected TEXT,           -- ISO 8601 date, NULL when nothing will be delivered
    carrier TEXT,
    tracking TEXT,
    items TEXT NOT NULL,
    total_eur REAL NOT NULL,
    postcode TEXT NOT NULL
);
INSERT INTO orders VALUES
('LF-204801', 'processing', '2026-11-24', NULL, '2026-11-30', NULL, NULL, '1 x Harrow bird feeder', 34.95, 'BS1 4DJ'),
('LF-204802', 'processing', '2026-11-24', NULL, '2026-11-30', NULL, NULL, '2 x Linden cushion, green', 49.90, '3511 AB'),
('LF-204803', 'processing', '2026-11-23', NULL, '2026-12-07', NULL, NULL, '1 x Tarn oak dining table', 549.00, '50667'),
('LF-204804', 'packed', '2026-11-23', NULL, '2026-11-27', 'DPD', NULL, '1 x Alder hand fork, 1 x Alder trowel', 27.80, 'M4 1HQ'),
('LF-204805', 'packed', '2026-11-23', NULL, '2026-11-25', 'DHL', NULL, '1 x Fennel LED lantern', 39.95, '2000'),
('LF-204806', 'packed', '2026-11-22', NULL, '2026-11-27', 'DPD', NULL, '3 x Marl planter, 30 cm', 74.85, '69002'),
('LF-204807', 'shipped', '2026-11-20', '2026-11-23', '2026-11-26', 'DPD', '15501908823371', '1 x Wren wool blanket', 69.00, 'EH1 2NG'),
('LF-204808', 'shipped', '2026-11-20', '2026-11-23', '2026-11-26', 'DHL', 'JD014600004417', '1 x Bracken camping stove', 59.95, '1012 LG'),
('LF-204809', 'shipped', '2026-11-16', '2026-11-17', '2026-12-02', 'UPS', '1Z84F1E60391745203', '4 x Sorrel bath towel', 95.80, '97205'),
('LF-204810', 'shipped', '2026-11-21', '2026-11-23', '2026-11-27', 'GLS', '60884219377', '1 x Heather desk lamp', 44.95, '28013'),
('LF-204815', 'out for delivery', '2026-11-19', '2026-11-20', '2026-11-24', 'DPD', '15501908811906', '1 x Rowan garden bench cushion', 79.95, 'BS3 1QA'),
('LF-204816', 'out for delivery', '2026-11-20', '2026-11-21', '2026-11-24', 'DHL', 'JD014600004092', '2 x Juniper storage basket', 37.90, '2018'),
('LF-204817', 'out for delivery', '2026-11-09', '2026-11-17', '2026-11-24', 'Larkfield two-person team', NULL, '1 x Hazel three-seat sofa', 899.00, '3012 CN'),
('LF-204820', 'delivered', '2026-11-12', '2026-11-13', '2026-11-17', 'DPD', '15501908790218', '1 x Yarrow watering can', 29.95, 'LS1 4AP'),
('LF-204821', 'delivered', '2026-11-10', '2026-11-11', '2026-11-14', 'DHL', 'JD014600003555', '1 x Teasel cordless drill', 129.00, '10115'),
('LF-204822', 'delivered', '2026-11-02', '2026-11-03', '2026-11-06', 'GLS', '60884210042', '6 x Clover dinner plate', 53.70, '75011'),
('LF-204823', 'delivered', '2026-10-26', '2026-10-27', '2026-11-09', 'UPS', '1Z84F1E60391712288', '1 x Meadow picnic set', 88.00, '02139'),
('LF-204830', 'delayed', '2026-11-13', '2026-11-16', '2026-11-30', 'DPD', '15501908799473', '1 x Osier laundry basket', 45.00, 'IV2 3HF'),
('LF-204831', 'delayed', '2026-11-02', NULL, '2026-12-11', NULL, NULL, '1 x Cedar raised bed', 139.00, '6211'),
('LF-204832', 'delayed', '2026-11-12', '2026-11-14', '2026-11-28', 'GLS', '60884216120', '2 x Thistle solar light', 31.90, '00184'),
('LF-204840', 'cancelled', '2026-11-18', NULL, NULL, NULL, NULL, '1 x Ember fire bowl', 119.00, 'CF10 1EP'),
('LF-204841', 'cancelled', '2026-11-21', NULL, NULL, NULL, NULL, '1 x Moss doormat', 24.95, '1070'),
('LF-204850', 'returned', '2026-10-29', '2026-10-30', NULL, 'DHL', 'JD014600002981', '1 x Vetch table runner', 22.50, '4811 AX'),
('LF-204851', 'returned', '2026-11-03', '2026-11-04', NULL, 'DPD', '15501908770164', '1 x Larch coat stand', 64.95, 'NE1 5AF'),
('LF-204860', 'refunded', '2026-10-20', '2026-10-21', NULL, 'DPD', '15501908751120', '1 x Dune hammock', 99.00, 'BN1 1EE'),
('LF-204861', 'refunded', '2026-10-15', '2026-10-16', NULL, 'GLS', '60884199317', '1 x Basil herb planter', 32.95, '1000-139'),
('LF-204862', 'refunded', '2026-10-12', '2026-10-13', NULL, 'UPS', '1Z84F1E60391699034', '2 x Pine candle lantern', 57.80, '60614');
