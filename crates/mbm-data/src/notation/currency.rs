//! Currencies in front of or behind a number.

/// Signs and abbreviations that may touch the number.
const SIGNS: [&str; 25] = [
    "US$", "NZ$", "HK$", "CA$", "AU$", "A$", "C$", "S$", "R$", "Rs.", "$", "€", "£", "¥", "₹", "₽", "₩", "₺", "₫", "₪", "₴", "₦",
    "₱", "฿", "₡",
];

/// Codes of ISO 4217 and other words, with a space between them and the number: `5 USD` is an amount, `USD5` may be a name.
const WORDS: [&str; 60] = [
    "USD", "EUR", "GBP", "JPY", "CNY", "RMB", "CHF", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "ISK", "PLN", "CZK", "HUF", "RON",
    "BGN", "TRY", "RUB", "UAH", "ILS", "AED", "SAR", "QAR", "KWD", "EGP", "MAD", "ZAR", "NGN", "KES", "GHS", "INR", "PKR", "BDT",
    "LKR", "IDR", "MYR", "SGD", "THB", "VND", "PHP", "KRW", "TWD", "HKD", "BRL", "MXN", "ARS", "CLP", "COP", "PEN", "Rs", "kr",
    "kr.", "Kč", "zł", "Ft", "Fr.", "Euro",
];

/// Returns the text behind a currency.
pub(super) fn strip_prefix(text: &str) -> Option<&str> {
    let sign = SIGNS.iter().find_map(|sign| text.strip_prefix(sign)).map(str::trim_start);
    sign.or_else(|| WORDS.iter().find_map(|word| text.strip_prefix(word).and_then(after_space)))
}

/// Returns the text in front of a currency.
pub(super) fn strip_suffix(text: &str) -> Option<&str> {
    let sign = SIGNS.iter().find_map(|sign| text.strip_suffix(sign)).map(str::trim_end);
    sign.or_else(|| WORDS.iter().find_map(|word| text.strip_suffix(word).and_then(before_space)))
}

fn after_space(text: &str) -> Option<&str> {
    text.starts_with(char::is_whitespace).then(|| text.trim_start())
}

fn before_space(text: &str) -> Option<&str> {
    text.ends_with(char::is_whitespace).then(|| text.trim_end())
}
