//! Dates for templates, without a clock.

/// A time in UTC. The engine reads no clock; its caller does.
///
/// ```
/// use edgellm::chat::DateTime;
///
/// assert_eq!(DateTime::from_unix(951_868_799).to_string(), "2000-02-29 23:59:59");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    year: i64,
    month: u8,
    day: u8,
    /// Seconds since midnight.
    seconds: u32,
    /// Days since Sunday.
    weekday: u8,
    /// Days since the first of January.
    day_of_year: u16,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const SECONDS_A_DAY: i64 = 86_400;
/// Days in 400 years, after which the Gregorian calendar repeats.
const DAYS_AN_ERA: i64 = 146_097;

impl DateTime {
    /// Seconds since 1970-01-01 00:00 UTC; for local time, add the offset.
    pub fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_A_DAY);
        // Years that begin in March have their leap day last, so that months have fixed starts.
        let since_era_zero = days + 719_468;
        let day_of_era = since_era_zero.rem_euclid(DAYS_AN_ERA);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_march_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = since_era_zero.div_euclid(DAYS_AN_ERA) * 400 + year_of_era + i64::from(month <= 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year =
            if month > 2 { day_of_march_year + 59 + i64::from(leap) } else { day_of_march_year - 306 };
        DateTime {
            year,
            month: month as u8,
            day: (day_of_march_year - (153 * march_month + 2) / 5 + 1) as u8,
            seconds: seconds.rem_euclid(SECONDS_A_DAY) as u32,
            weekday: (days + 4).rem_euclid(7) as u8,
            day_of_year: day_of_year as u16,
        }
    }

    /// Formats as Python's `strftime`, in English. As with the GNU library, `%-d` is `%d` without padding.
    pub(super) fn format(&self, format: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let directive = chars.next();
            let (padded, directive) = match directive {
                Some('-') => (false, chars.next()),
                directive => (true, directive),
            };
            let Some(part) = directive.and_then(|directive| self.part(directive)) else {
                let directive = directive.map(String::from).unwrap_or_default();
                return Err(format!("strftime_now: %{directive} is not supported"));
            };
            let digits = part.trim_start_matches(['0', ' ']);
            text += match digits {
                _ if padded => &part,
                // Nothing but zeros.
                "" => "0",
                digits => digits,
            };
        }
        Ok(text)
    }

    /// What a directive stands for.
    fn part(&self, directive: char) -> Option<String> {
        let month = MONTHS[usize::from(self.month) - 1];
        let weekday = WEEKDAYS[usize::from(self.weekday)];
        let (hour, minute, second) = (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        let composed = |format: &str| self.format(format).ok();
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year + 1),
            'B' => month.into(),
            'b' | 'h' => month[..3].into(),
            'A' => weekday.into(),
            'a' => weekday[..3].into(),
            'w' => self.weekday.to_string(),
            'u' => (if self.weekday == 0 { 7 } else { self.weekday }).to_string(),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'p' => if hour < 12 { "AM" } else { "PM" }.into(),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'f' => "000000".into(),
            'F' => composed("%Y-%m-%d")?,
            'T' | 'X' => composed("%H:%M:%S")?,
            'R' => composed("%H:%M")?,
            'D' | 'x' => composed("%m/%d/%y")?,
            'c' => composed("%a %b %e %T %Y")?,
            'Z' => "UTC".into(),
            'z' => "+0000".into(),
            '%' => "%".into(),
            _ => return None,
        })
    }
}

impl std::fmt::Display for DateTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.format("%F %T").map_err(|_| std::fmt::Error)?)
    }
}
